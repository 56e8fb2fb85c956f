"""The whole stack over real networks: hosts in network namespaces, with kernels' own IP between them, and links that misbehave."""
