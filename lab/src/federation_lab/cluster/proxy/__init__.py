"""Services of one region: cluster addresses, node ports and load balancers, by nftables."""
