"""What rules mean, case by case: the YAML files are to be read, and `test_meaning` runs them."""
