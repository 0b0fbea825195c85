output "models" {
  description = "Each region's model."
  value       = { for name, region in module.region : name => region.model_uuid }
}
