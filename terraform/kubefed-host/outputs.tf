output "app_name" {
  description = "The application's name."
  value       = juju_application.kubefed_host.name
}

output "provides" {
  description = "Endpoints that it provides."
  value = {
    cos_agent = "cos-agent"
  }
}

output "requires" {
  description = "Endpoints that it requires."
  value = {
    certificates    = "certificates"
    charm_tracing   = "charm-tracing"
    kube_control    = "kube-control"
    members         = "members"
    receive_ca_cert = "receive-ca-cert"
    region_health   = "region-health"
  }
}
