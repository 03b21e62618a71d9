"""The names of boots."""

from barbossad.model import boots


def test_containers_under_one_kernel_have_boots_of_their_own() -> None:
    """The kernel's word and the start of the first process make a name: both have to be the same."""
    name = boots.name("kernel", 7)
    assert boots.is_same(name, boots.name("kernel", 7))
    assert not boots.is_same(name, boots.name("kernel", 9))
    assert not boots.is_same(name, boots.name("other", 7))


def test_a_name_of_an_older_release_may_be_of_any_boot_under_its_kernel() -> None:
    """An upgrade does not take what runs for what ran before a reboot."""
    assert boots.name("kernel", None) == "kernel"
    assert boots.is_same("kernel", boots.name("kernel", 7))
    assert boots.is_same(boots.name("kernel", 7), "kernel")
    assert not boots.is_same("other", boots.name("kernel", 7))
