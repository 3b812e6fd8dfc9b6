//! A Kubernetes API in memory, as a tower service without sockets or processes.
