using System;
using System.IO;
using System.Text;
using Npcmeta.Wire;

/// <summary>
/// Reads messages and writes them again. The input holds records of a type's name and bytes; the output holds for each
/// one byte, 0 or 1, and the message as it was written again, or why it was refused.
/// </summary>
internal static class WireCheck
{
    private static void Main(string[] arguments)
    {
        using (var input = new BinaryReader(File.OpenRead(arguments[0])))
        using (var output = new BinaryWriter(File.Create(arguments[1])))
        {
            while (input.BaseStream.Position < input.BaseStream.Length)
            {
                string type = Encoding.UTF8.GetString(input.ReadBytes(input.ReadInt32()));
                Answer(type, input.ReadBytes(input.ReadInt32()), output);
            }
        }
    }

    private static void Answer(string type, byte[] bytes, BinaryWriter output)
    {
        var message = (IMessage)Activator.CreateInstance(typeof(WireCheck).Assembly.GetType(type, true));
        try
        {
            message.MergeFrom(new WireReader(bytes));
            Put(output, 0, message.ToBytes());
        }
        catch (WireException refused)
        {
            Put(output, 1, Encoding.UTF8.GetBytes(refused.Message));
        }
    }

    private static void Put(BinaryWriter output, byte refused, byte[] bytes)
    {
        output.Write(refused);
        output.Write(bytes.Length);
        output.Write(bytes);
    }
}
