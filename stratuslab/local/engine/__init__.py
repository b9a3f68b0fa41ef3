"""The embedded cloud's engine: allocation, scheduling and life cycle of instances. No XML-RPC, no documents."""
