"""Choice of the settings of a training: facts about the rows, rules, short trainings."""
