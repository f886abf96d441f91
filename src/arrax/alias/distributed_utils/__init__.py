"""What `mlx._distributed_utils` offers: hosts and files that name them, and the launcher `mlx.launch`."""
