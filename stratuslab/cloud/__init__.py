"""The cloud endpoint client: calls OpenNebula's XML-RPC interface and reads what it answers. Nothing here prints."""
