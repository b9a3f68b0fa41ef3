"""A listing with pyone, OpenNebula's own client for Python.

python with_pyone.py ENDPOINT
"""

import sys

import pyone

for vm in pyone.OneServer(sys.argv[1], "alice:secret").vmpool.info(-3, -1, -1, -1).VM:
    print(vm.ID, vm.STATE, vm.TEMPLATE["NIC"]["IP"], vm.NAME)
