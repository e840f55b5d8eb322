"""Archives and images made to do harm, by theme, and the tests that let them try."""
