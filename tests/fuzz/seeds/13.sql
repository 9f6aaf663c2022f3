select window_start, count() from tumble(table(metrics), ts, 5s) group by window_start
