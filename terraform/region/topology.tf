# What bundles/federation.yaml and the overlays say, as data. `make lint` compares the two.
locals {
  kubernetes = {
    easyrsa                  = { channel = "1.35/stable", units = 1, constraints = "cores=1 mem=4G root-disk=16G" }
    etcd                     = { channel = "1.35/stable", units = 3, constraints = "cores=2 mem=8G root-disk=16G" }
    kubernetes-control-plane = { channel = "1.35/stable", units = 2, constraints = "cores=2 mem=8G root-disk=16G" }
    kubernetes-worker        = { channel = "1.35/stable", units = 3, constraints = "cores=2 mem=8G root-disk=16G", expose = true }
    kubeapi-load-balancer    = { channel = "1.35/stable", units = 1, constraints = "cores=1 mem=4G root-disk=16G", expose = true }
    containerd               = { channel = "1.35/stable" }
    calico                   = { channel = "1.35/stable" }
  }

  kubernetes_config = {
    etcd                     = { channel = "3.4/stable" }
    kubernetes-control-plane = { channel = "1.35/stable" }
    kubernetes-worker        = { channel = "1.35/stable" }
    calico                   = { vxlan = "Always" }
  }

  kubernetes_relations = [
    ["kubernetes-control-plane:loadbalancer-external", "kubeapi-load-balancer:lb-consumers"],
    ["kubernetes-control-plane:loadbalancer-internal", "kubeapi-load-balancer:lb-consumers"],
    ["kubernetes-control-plane:kube-control", "kubernetes-worker:kube-control"],
    ["kubernetes-control-plane:certificates", "easyrsa:client"],
    ["kubernetes-control-plane:etcd", "etcd:db"],
    ["kubernetes-worker:certificates", "easyrsa:client"],
    ["kubeapi-load-balancer:certificates", "easyrsa:client"],
    ["etcd:certificates", "easyrsa:client"],
    ["calico:etcd", "etcd:db"],
    ["calico:cni", "kubernetes-control-plane:cni"],
    ["calico:cni", "kubernetes-worker:cni"],
    ["containerd:containerd", "kubernetes-control-plane:container-runtime"],
    ["containerd:containerd", "kubernetes-worker:container-runtime"],
  ]

  # kubefed-host and what relates it are in the host's region only.
  federation_relations = [
    ["kubefed-host:kube-control", "kubernetes-control-plane:kube-control"],
    ["kubefed-member:kube-control", "kubernetes-control-plane:kube-control"],
    ["federation-dns:kube-control", "kubernetes-control-plane:kube-control"],
    ["kubefed-host:certificates", "easyrsa:client"],
    ["kubefed-member:certificates", "easyrsa:client"],
    ["federation-dns:certificates", "easyrsa:client"],
    ["kubefed-host:members", "kubefed-member:federation"],
    ["kubefed-host:region-health", "federation-dns:region-health"],
  ]

  openstack = {
    openstack-integrator       = { channel = "1.35/stable", units = 1, constraints = "cores=1 mem=2G root-disk=16G", trust = true }
    openstack-cloud-controller = { channel = "1.35/stable" }
    cinder-csi                 = { channel = "1.35/stable" }
  }
  openstack_replaces = ["kubeapi-load-balancer"]
  openstack_config = {
    kubernetes-control-plane = { allow-privileged = "true" }
  }
  openstack_relations = [
    ["openstack-cloud-controller:openstack", "openstack-integrator:clients"],
    ["openstack-cloud-controller:kube-control", "kubernetes-control-plane:kube-control"],
    ["openstack-cloud-controller:external-cloud-provider", "kubernetes-control-plane:external-cloud-provider"],
    ["openstack-cloud-controller:certificates", "easyrsa:client"],
    ["cinder-csi:openstack", "openstack-integrator:clients"],
    ["cinder-csi:kube-control", "kubernetes-control-plane:kube-control"],
    ["cinder-csi:certificates", "easyrsa:client"],
    ["kubernetes-control-plane:loadbalancer-external", "openstack-integrator:lb-consumers"],
  ]

  ha_units = {
    kubernetes-control-plane = 3
    kubefed-host             = 2
  }

  designate_config = { provider = "designate" }
  upstream_config  = { control-plane = "upstream" }

  cos = {
    opentelemetry-collector = { channel = "2/stable" }
  }
  cos_relations = [
    ["opentelemetry-collector:cos-agent", "kubernetes-control-plane:cos-agent"],
    ["opentelemetry-collector:cos-agent", "kubernetes-worker:cos-agent"],
    ["opentelemetry-collector:cos-agent", "federation-dns:cos-agent"],
    ["opentelemetry-collector:cos-agent", "kubefed-host:cos-agent"],
    ["opentelemetry-collector:juju-info", "kubefed-member:juju-info"],
  ]
  tracing_relations = [
    ["kubefed-host:charm-tracing", "opentelemetry-collector:receive-traces"],
    ["kubefed-member:charm-tracing", "opentelemetry-collector:receive-traces"],
    ["federation-dns:charm-tracing", "opentelemetry-collector:receive-traces"],
  ]
  # By the name of the offer in the variable `cos`.
  cos_offers = {
    metrics    = "send-remote-write"
    logs       = "send-loki-logs"
    dashboards = "grafana-dashboards-provider"
  }
  tracing_offers = {
    traces = "send-traces"
  }
}
