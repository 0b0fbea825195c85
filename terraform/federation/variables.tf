variable "host" {
  description = "The region that keeps kubefed-host."
  type        = string

  validation {
    condition     = contains(keys(var.regions), var.host)
    error_message = "host names none of the regions."
  }
}

variable "regions" {
  description = "The regions, by name. What a region has not, it has from the defaults here."
  type = map(object({
    cloud_region  = optional(string)
    labels        = optional(string, "")
    openstack     = optional(bool, true)
    ha            = optional(bool, false)
    designate     = optional(bool, false)
    upstream      = optional(bool, false)
    host_config   = optional(map(string), {})
    member_config = optional(map(string), {})
    dns_config    = optional(map(string), {})
  }))
}

variable "cloud" {
  description = "The OpenStack as Juju calls it (clouds/openstack.yaml)."
  type        = string
  default     = "openstack"
}

variable "charm_channel" {
  description = "The channel you published the three charms of the federation to."
  type        = string
}

variable "cos" {
  description = "The offers of the observability stack, the same for all regions; null is none. Tempo's (traces) may be left out."
  type = object({
    metrics    = string
    logs       = string
    dashboards = string
    traces     = optional(string)
    controller = optional(string)
  })
  default = null
}

variable "witness" {
  description = "As overlays/witness.yaml: a voter on a third site, for two regions; null is none."
  type = object({
    cloud        = optional(string, "openstack")
    cloud_region = optional(string)
  })
  default = null
}
