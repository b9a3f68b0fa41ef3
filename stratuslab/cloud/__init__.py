"""The client of a cloud: calls OpenNebula's XML-RPC interface and reads the answers. Nothing here prints."""
