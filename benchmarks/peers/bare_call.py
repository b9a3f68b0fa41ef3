"""One machine by the standard library's XML-RPC: the least that describing one can cost.

python bare_call.py ENDPOINT ID
"""

import sys
from xml.etree import ElementTree
from xmlrpc.client import ServerProxy

_, document, *_ = ServerProxy(sys.argv[1]).one.vm.info("alice:secret", int(sys.argv[2]))
vm = ElementTree.fromstring(document)
print(vm.findtext("ID"), vm.findtext("STATE"), vm.findtext("NAME"))
