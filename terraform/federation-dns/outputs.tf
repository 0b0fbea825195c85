output "app_name" {
  description = "The application's name."
  value       = juju_application.federation_dns.name
}

output "provides" {
  description = "Endpoints that it provides."
  value = {
    cos_agent     = "cos-agent"
    mesh_hub      = "mesh-hub"
    region_health = "region-health"
  }
}

output "requires" {
  description = "Endpoints that it requires."
  value = {
    certificates    = "certificates"
    charm_tracing   = "charm-tracing"
    kube_control    = "kube-control"
    mesh            = "mesh"
    receive_ca_cert = "receive-ca-cert"
  }
}
