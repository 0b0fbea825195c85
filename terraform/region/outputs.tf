output "model_uuid" {
  description = "The region's model."
  value       = juju_model.this.uuid
}

output "member_offer" {
  description = "The address of the region's member, for the host."
  value       = juju_offer.member.url
}

output "mesh_offer" {
  description = "The address of the mesh's hub; null but in the host's region."
  value       = one(juju_offer.mesh[*].url)
}

output "kubefed_host" {
  description = "The application kubefed-host; null but in the host's region."
  value       = one(module.kubefed_host[*].app_name)
}

output "federation_dns" {
  description = "The application federation-dns."
  value       = module.federation_dns.app_name
}
