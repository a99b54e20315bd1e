"""What a run tells: the page about it, its findings in sentences, the progress line, the closing summary."""
