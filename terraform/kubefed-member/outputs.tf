output "app_name" {
  description = "The application's name."
  value       = juju_application.kubefed_member.name
}

output "provides" {
  description = "Endpoints that it provides."
  value = {
    federation = "federation"
  }
}

output "requires" {
  description = "Endpoints that it requires."
  value = {
    certificates    = "certificates"
    charm_tracing   = "charm-tracing"
    kube_control    = "kube-control"
    receive_ca_cert = "receive-ca-cert"
  }
}
