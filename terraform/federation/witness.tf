# An agent that votes, with neither cluster nor name server, in a model of its own.
resource "juju_model" "witness" {
  count = var.witness == null ? 0 : 1
  name  = "witness"

  cloud {
    name   = var.witness.cloud
    region = var.witness.cloud_region
  }
}

module "witness" {
  source = "../federation-dns"
  count  = var.witness == null ? 0 : 1

  model_uuid  = juju_model.witness[0].uuid
  channel     = var.charm_channel
  constraints = "cores=1 mem=1G root-disk=8G"
  config = {
    region = "witness"
    role   = "witness"
  }
}

resource "juju_integration" "witness" {
  count      = var.witness == null ? 0 : 1
  model_uuid = juju_model.witness[0].uuid

  application {
    name     = module.witness[0].app_name
    endpoint = "mesh"
  }
  application {
    offer_url = module.region[var.host].mesh_offer
  }
}
