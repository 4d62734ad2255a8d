"""The dashboard: one page in the browser that shows how the recording is doing, served by the service itself.

page        the page as one self-contained document, and its Content-Security-Policy
live        what the page shows, rendered once for all its readers
prices      the last price of each market, while somebody looks
timeline    coverage and gaps of the last hour, from the file

The page consists of page.html, page.css and the scripts; vendor/ holds the chart library.
"""
