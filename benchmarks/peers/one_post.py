"""The least that a listing can cost with common libraries: one POST by requests, two lxml trees, print.

python one_post.py ENDPOINT
"""

import sys

import requests
from lxml import etree

CALL = """<?xml version='1.0'?><methodCall><methodName>one.vmpool.info</methodName><params>
<param><value><string>alice:secret</string></value></param><param><value><int>-3</int></value></param>
<param><value><int>-1</int></value></param><param><value><int>-1</int></value></param>
<param><value><int>-1</int></value></param></params></methodCall>"""

parser = etree.XMLParser(huge_tree=True)
answer = etree.fromstring(requests.post(sys.argv[1], data=CALL).content, parser)
pool = etree.fromstring(answer.findtext(".//string"), parser)
for vm in pool.iterfind("VM"):
    print(vm.findtext("ID"), vm.findtext("STATE"), vm.findtext("TEMPLATE/NIC/IP"), vm.findtext("NAME"))
