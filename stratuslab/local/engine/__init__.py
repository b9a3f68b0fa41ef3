"""What happens to instances of the embedded cloud: allocation, scheduling, life cycle. No XML-RPC, no documents."""
