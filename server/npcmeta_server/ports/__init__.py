"""The ports: how the services are reached. gRPC on one, gRPC-Web and Connect on the other."""
