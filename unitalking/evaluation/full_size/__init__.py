"""The paper's metrics for full-size models, by public judges whose weights lie in a folder the user names."""
