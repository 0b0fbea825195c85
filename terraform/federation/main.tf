# The whole federation: each region's model, and what crosses them. On one controller.
module "region" {
  source   = "../region"
  for_each = var.regions

  name          = each.key
  host          = each.key == var.host
  cloud         = var.cloud
  cloud_region  = each.value.cloud_region
  charm_channel = var.charm_channel
  labels        = each.value.labels
  openstack     = each.value.openstack
  ha            = each.value.ha
  designate     = each.value.designate
  upstream      = each.value.upstream
  cos           = var.cos
  host_config   = each.value.host_config
  member_config = each.value.member_config
  dns_config    = each.value.dns_config
}

locals {
  # The host's own member and agent are related inside its model.
  members = { for name, region in var.regions : name => region if name != var.host }
}

# In the host's model: the members' offers are consumed, since only the offering side grants secrets.
resource "juju_integration" "member" {
  for_each   = local.members
  model_uuid = module.region[var.host].model_uuid

  application {
    name     = module.region[var.host].kubefed_host
    endpoint = "members"
  }
  application {
    offer_url = module.region[each.key].member_offer
  }
}

# In each further region's model: its agent joins the mesh.
resource "juju_integration" "mesh" {
  for_each   = local.members
  model_uuid = module.region[each.key].model_uuid

  application {
    name     = module.region[each.key].federation_dns
    endpoint = "mesh"
  }
  application {
    offer_url = module.region[var.host].mesh_offer
  }
}
