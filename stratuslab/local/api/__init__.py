"""The embedded cloud as others see it: XML-RPC methods and documents, HTTP and in-process access, the Marketplace's REST."""
