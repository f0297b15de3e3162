"""What scripts/generate_csharp is made of: .proto files in, C# message classes out."""
