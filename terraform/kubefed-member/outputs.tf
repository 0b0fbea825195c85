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
    certificates = "certificates"
    kube_control = "kube-control"
  }
}
