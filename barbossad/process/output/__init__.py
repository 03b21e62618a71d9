"""What attempts print: from their pipes into their logs, and out of these again."""
