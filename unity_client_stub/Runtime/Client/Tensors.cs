using System;
using System.Collections.Generic;
using System.Linq;
using Npcmeta.V1;
using Npcmeta.Wire;

namespace Npcmeta
{
    /// <summary>Arrays to tensors of the wire and back. Arrays are row-major.</summary>
    public static class Tensors
    {
        /// <summary>A FLOAT32 tensor.</summary>
        public static Tensor FromFloats(float[] values, params long[] shape)
        {
            return Make(DataType.Float32, values, values.Length, sizeof(float), shape);
        }

        /// <summary>An INT64 tensor.</summary>
        public static Tensor FromLongs(long[] values, params long[] shape)
        {
            return Make(DataType.Int64, values, values.Length, sizeof(long), shape);
        }

        /// <summary>A BOOL tensor, for masks.</summary>
        public static Tensor FromBools(bool[] values, params long[] shape)
        {
            return Make(DataType.Bool, values, values.Length, sizeof(bool), shape);
        }

        /// <summary>The values of a FLOAT32 tensor.</summary>
        /// <exception cref="WireException">Its type is another, or its bytes are not what its shape says.</exception>
        public static float[] ToFloats(Tensor tensor)
        {
            var values = new float[Count(tensor, sizeof(float), DataType.Float32)];
            Copy(tensor.Data, values);
            return values;
        }

        /// <summary>The values of an INT64 or INT32 tensor.</summary>
        /// <exception cref="WireException">Its type is another, or its bytes are not what its shape says.</exception>
        public static long[] ToLongs(Tensor tensor)
        {
            if (tensor.DataType == DataType.Int32)
            {
                var narrow = new int[Count(tensor, sizeof(int), DataType.Int32)];
                Copy(tensor.Data, narrow);
                return Array.ConvertAll(narrow, value => (long)value);
            }
            var values = new long[Count(tensor, sizeof(long), DataType.Int64)];
            Copy(tensor.Data, values);
            return values;
        }

        /// <summary>The values of a BOOL tensor.</summary>
        /// <exception cref="WireException">Its type is another, or its bytes are not what its shape says.</exception>
        public static bool[] ToBools(Tensor tensor)
        {
            Count(tensor, sizeof(bool), DataType.Bool);
            return Array.ConvertAll(tensor.Data, value => value != 0);
        }

        private static Tensor Make(DataType type, Array values, int count, int size, long[] shape)
        {
            if (!HasProduct(shape, count))
            {
                throw new ArgumentException("there are " + count + " values, the shape is " + Text(shape));
            }
            var data = new byte[checked(count * size)];
            Buffer.BlockCopy(values, 0, data, 0, data.Length);
            var tensor = new Tensor { DataType = type, Data = data };
            tensor.Shape.AddRange(shape);
            RequireLittleEndian();
            return tensor;
        }

        private static int Count(Tensor tensor, int size, DataType expected)
        {
            if (tensor.DataType != expected)
            {
                throw new WireException("the tensor is " + tensor.DataType + ", expected " + expected);
            }
            int count = tensor.Data.Length / size;
            if (tensor.Data.Length % size != 0 || !HasProduct(tensor.Shape.ToArray(), count))
            {
                string wanted = expected + " " + Text(tensor.Shape);
                throw new WireException("the tensor holds " + tensor.Data.Length + " bytes, which is not " + wanted);
            }
            return count;
        }

        private static bool HasProduct(long[] shape, int count)
        {
            if (shape.Any(size => size < 0)) return false;
            if (shape.Contains(0)) return count == 0;
            long product = 1;
            foreach (long size in shape)
            {
                if (size > count / product) return false;
                product *= size;
            }
            return product == count;
        }

        private static string Text(IEnumerable<long> shape)
        {
            return "[" + string.Join(", ", shape) + "]";
        }

        private static void Copy(byte[] data, Array values)
        {
            RequireLittleEndian();
            Buffer.BlockCopy(data, 0, values, 0, data.Length);
        }

        private static void RequireLittleEndian()
        {
            if (!BitConverter.IsLittleEndian) throw new PlatformNotSupportedException("this machine is not little-endian");
        }
    }
}
