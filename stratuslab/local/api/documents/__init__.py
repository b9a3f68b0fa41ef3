"""The XML documents of the embedded cloud, element for element as each release of OpenNebula writes them."""
