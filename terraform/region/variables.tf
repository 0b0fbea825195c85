variable "name" {
  description = "The region; also its model's name."
  type        = string
}

variable "host" {
  description = "Whether this is the federation's first region, which keeps kubefed-host."
  type        = bool
  default     = false
}

variable "cloud" {
  description = "The OpenStack as Juju calls it (clouds/openstack.yaml)."
  type        = string
  default     = "openstack"
}

variable "cloud_region" {
  description = "Its region; null is the region's own name."
  type        = string
  default     = null
}

variable "charm_channel" {
  description = "The channel you published the three charms of the federation to."
  type        = string
}

variable "labels" {
  description = "What placements select the cluster by, as KEY=VALUE,KEY=VALUE."
  type        = string
  default     = ""
}

variable "openstack" {
  description = "As overlays/openstack.yaml: Octavia and Cinder."
  type        = bool
  default     = false
}

variable "ha" {
  description = "As overlays/ha.yaml: three control planes, two units of kubefed-host."
  type        = bool
  default     = false
}

variable "designate" {
  description = "As overlays/designate.yaml: the zone in OpenStack's Designate."
  type        = bool
  default     = false
}

variable "upstream" {
  description = "As overlays/upstream.yaml: KubeFed v0.10.0 controls the federation. The host's region."
  type        = bool
  default     = false
}

variable "cos" {
  description = "As overlays/cos.yaml: the offers of the observability stack; null is none. With traces as overlays/tracing.yaml, too."
  type = object({
    metrics    = string
    logs       = string
    dashboards = string
    traces     = optional(string)
    controller = optional(string)
  })
  default = null
}

variable "host_config" {
  description = "Further options of kubefed-host, such as image."
  type        = map(string)
  default     = {}
}

variable "member_config" {
  description = "Further options of kubefed-member, such as api-endpoint."
  type        = map(string)
  default     = {}
}

variable "dns_config" {
  description = "Further options of federation-dns, such as zone."
  type        = map(string)
  default     = {}
}
