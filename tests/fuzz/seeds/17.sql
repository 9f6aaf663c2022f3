select window_start, window_end, max(value) from hop(metrics, ts, 1s, 5s) where _tp_time > now() - 1h group by window_start, window_end emit after window close with delay 2s and timeout 5s
