"""One region's Kubernetes: certificates, control plane, pods and load balancers."""
