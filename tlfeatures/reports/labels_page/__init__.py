"""The page of new images with their labels, for people who check labels in a browser.

In: predictions, one by one, and the model. Out: the HTML of one page with a bounded size.
"""
