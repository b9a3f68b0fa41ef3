"""The embedded cloud's interfaces: XML-RPC methods and documents, in-process and over HTTP, and the Marketplace's REST."""
