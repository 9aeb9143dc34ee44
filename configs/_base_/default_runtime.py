# Training-time settings. vidfeat reads and ignores them; they are here so that this config stands on the same two
# base files as its namesake.
checkpoint_config = dict(interval=1)
log_config = dict(interval=20, hooks=[dict(type='TextLoggerHook')])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
