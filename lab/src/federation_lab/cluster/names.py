"""Names that the control plane and the node share; imports nothing, as both are started often."""

# As what the API server comes to the kubelet for logs.
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
