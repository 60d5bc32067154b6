"""The scenarios, one file each; `suite.SCENARIOS` names them and says what they show."""
