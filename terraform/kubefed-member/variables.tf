variable "model_uuid" {
  description = "The model to deploy into."
  type        = string
}

variable "channel" {
  description = "The channel you published the charm to; it is in no public one."
  type        = string
}

variable "revision" {
  description = "The charm's revision; null is the channel's newest."
  type        = number
  default     = null
}

variable "app_name" {
  description = "The application's name."
  type        = string
  default     = "kubefed-member"
}

variable "base" {
  description = "The system of its machines."
  type        = string
  default     = "ubuntu@24.04"
}

variable "units" {
  description = "How many units."
  type        = number
  default     = 1
}

variable "constraints" {
  description = "What its machines have."
  type        = string
  default     = "cores=1 mem=2G root-disk=16G"
}

variable "config" {
  description = "The charm's options."
  type        = map(string)
  default     = {}
}
