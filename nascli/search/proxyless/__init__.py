"""ProxylessNAS (Cai, Zhu and Han 2019)."""
