# KubeFed member: one a region.
resource "juju_application" "kubefed_member" {
  name        = var.app_name
  model_uuid  = var.model_uuid
  units       = var.units
  constraints = var.constraints
  config      = var.config

  charm {
    name     = "kubefed-member"
    channel  = var.channel
    revision = var.revision
    base     = var.base
  }
}
