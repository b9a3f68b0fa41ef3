"""The least that a listing can cost with common libraries: one POST by requests, two lxml trees, print.

python one_post.py ENDPOINT [USER]
"""

import sys

import requests
from lxml import etree

USER = sys.argv[2] if len(sys.argv) > 2 else "alice"
CALL = f"""<?xml version='1.0'?><methodCall><methodName>one.vmpool.info</methodName><params>
<param><value><string>{USER}:secret</string></value></param><param><value><int>-2</int></value></param>
<param><value><int>-1</int></value></param><param><value><int>-1</int></value></param>
<param><value><int>-1</int></value></param></params></methodCall>"""

parser = etree.XMLParser(huge_tree=True)
answer = etree.fromstring(requests.post(sys.argv[1], data=CALL).content, parser)
pool = etree.fromstring(answer.findtext(".//string"), parser)
for vm in pool.iterfind("VM"):
    print(vm.findtext("ID"), vm.findtext("STATE"), vm.findtext("TEMPLATE/NIC/IP"), vm.findtext("NAME"))
