"""A sweep made ready before anything costly: its options, configurations, folder and cost."""
