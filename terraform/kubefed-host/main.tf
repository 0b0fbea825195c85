# KubeFed host: one, in the federation's first region.
resource "juju_application" "kubefed_host" {
  name        = var.app_name
  model_uuid  = var.model_uuid
  units       = var.units
  constraints = var.constraints
  config      = var.config

  charm {
    name     = "kubefed-host"
    channel  = var.channel
    revision = var.revision
    base     = var.base
  }
}
