# One region: a model, Charmed Kubernetes in it, the federation's charms, and what it offers.
locals {
  absent = concat(
    [for name in local.openstack_replaces : name if var.openstack],
    [for name in ["kubefed-host"] : name if !var.host],
  )

  applications = merge(
    { for name, app in local.kubernetes : name => app if !contains(local.absent, name) },
    { for name, app in local.openstack : name => app if var.openstack },
    { for name, app in local.cos : name => app if var.cos != null },
  )

  relations = {
    for pair in concat(
      local.kubernetes_relations,
      local.federation_relations,
      [for pair in local.openstack_relations : pair if var.openstack],
      [for pair in local.cos_relations : pair if var.cos != null],
      [for pair in local.tracing_relations : pair if local.traced],
    ) : join(" ", pair) => pair
    if !anytrue([for end in pair : contains(local.absent, split(":", end)[0])])
  }

  units  = { for name, units in local.ha_units : name => units if var.ha }
  traced = try(var.cos.traces, null) != null
}

resource "juju_model" "this" {
  name = var.name

  cloud {
    name   = var.cloud
    region = coalesce(var.cloud_region, var.name)
  }
}

resource "juju_application" "kubernetes" {
  for_each = local.applications

  name        = each.key
  model_uuid  = juju_model.this.uuid
  units       = try(local.units[each.key], each.value.units, null)
  constraints = try(each.value.constraints, null)
  trust       = try(each.value.trust, false)
  config = merge(
    try(local.kubernetes_config[each.key], {}),
    { for name, value in try(local.openstack_config[each.key], {}) : name => value if var.openstack },
  )

  charm {
    name    = each.key
    channel = each.value.channel
    base    = "ubuntu@24.04"
  }

  dynamic "expose" {
    for_each = try(each.value.expose, false) ? [1] : []
    content {}
  }
}

module "kubefed_host" {
  source = "../kubefed-host"
  count  = var.host ? 1 : 0

  model_uuid = juju_model.this.uuid
  channel    = var.charm_channel
  units      = try(local.units["kubefed-host"], 1)
  config = merge(
    { for name, value in local.upstream_config : name => value if var.upstream },
    var.host_config,
  )
}

module "kubefed_member" {
  source = "../kubefed-member"

  model_uuid = juju_model.this.uuid
  channel    = var.charm_channel
  config     = merge({ region = var.name, labels = var.labels }, var.member_config)
}

module "federation_dns" {
  source = "../federation-dns"

  model_uuid = juju_model.this.uuid
  channel    = var.charm_channel
  config = merge(
    { region = var.name },
    { for name, value in local.designate_config : name => value if var.designate },
    var.dns_config,
  )
}

resource "juju_integration" "region" {
  for_each   = local.relations
  model_uuid = juju_model.this.uuid

  application {
    name     = split(":", each.value[0])[0]
    endpoint = split(":", each.value[0])[1]
  }
  application {
    name     = split(":", each.value[1])[0]
    endpoint = split(":", each.value[1])[1]
  }

  # Their names are data, so the order is said here.
  depends_on = [
    juju_application.kubernetes,
    module.kubefed_host,
    module.kubefed_member,
    module.federation_dns,
  ]
}

resource "juju_integration" "cos" {
  for_each = merge(
    { for name, endpoint in local.cos_offers : name => endpoint if var.cos != null },
    { for name, endpoint in local.tracing_offers : name => endpoint if local.traced },
  )
  model_uuid = juju_model.this.uuid

  application {
    name     = juju_application.kubernetes["opentelemetry-collector"].name
    endpoint = each.value
  }
  application {
    offer_url           = var.cos[each.key]
    offering_controller = var.cos.controller
  }
}

resource "juju_offer" "member" {
  model_uuid       = juju_model.this.uuid
  application_name = module.kubefed_member.app_name
  endpoints        = ["federation"]
  name             = "${var.name}-member"
}

resource "juju_offer" "mesh" {
  count = var.host ? 1 : 0

  model_uuid       = juju_model.this.uuid
  application_name = module.federation_dns.app_name
  endpoints        = ["mesh-hub"]
  name             = "federation-mesh"
}
