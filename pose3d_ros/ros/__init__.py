"""The nodes and the conversions from and to messages; nothing else imports rclpy."""
