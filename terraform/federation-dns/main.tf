# Federation DNS: one a region.
resource "juju_application" "federation_dns" {
  name        = var.app_name
  model_uuid  = var.model_uuid
  units       = var.units
  constraints = var.constraints
  config      = var.config

  charm {
    name     = "federation-dns"
    channel  = var.channel
    revision = var.revision
    base     = var.base
  }

  # Resolvers and the other regions' agents reach it from outside the model.
  expose {}
}
