using System;

namespace Npcmeta.Samples.Headless
{
    /// <summary>What the command line says.</summary>
    internal sealed class Options
    {
        public const string Usage = "usage: headless.exe [--server URL] [--archetype NAME] [--assets DIR]";

        /// <summary>The server's HTTP port.</summary>
        public string Server { get; private set; } = "http://127.0.0.1:8080";

        /// <summary>"archetypes/{archetype}" or only its id; empty: the first that the server offers.</summary>
        public string Archetype { get; private set; } = "";

        /// <summary>Where the asset goes.</summary>
        public string Assets { get; private set; } = "assets";

        /// <summary>Reads the arguments.</summary>
        /// <exception cref="ArgumentException">One is not known, or has no value.</exception>
        public static Options Parse(string[] arguments)
        {
            var options = new Options();
            for (int i = 0; i < arguments.Length; i += 2)
            {
                if (i + 1 == arguments.Length) throw new ArgumentException(arguments[i] + " needs a value; " + Usage);
                options.Set(arguments[i], arguments[i + 1]);
            }
            return options;
        }

        private void Set(string option, string value)
        {
            switch (option)
            {
                case "--server":
                    Server = value;
                    break;
                case "--archetype":
                    Archetype = value.StartsWith("archetypes/") ? value : "archetypes/" + value;
                    break;
                case "--assets":
                    Assets = value;
                    break;
                default:
                    throw new ArgumentException("there is no option " + option + "; " + Usage);
            }
        }
    }
}
